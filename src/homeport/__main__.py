"""`python -m homeport` is the `homeport` command."""

from .server.cli import main

if __name__ == "__main__":
    main(prog_name="homeport")
