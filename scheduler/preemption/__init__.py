"""How room is made for what waits: who may go, and who goes. Tried out whole before anybody goes."""
