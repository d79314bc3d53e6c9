"""
A program of its own beside each command of the process runtime: it starts the command,
writes down what it says and how it ends, and outlives the server.

Stdlib only, and little of it: it starts once for each attempt. Only `state`, `processes`
and `job` are the server's too.

It holds a lock on its folder as long as it lives (kill -9 frees it), so a restarted
server knows by the lock alone whether the command is still watched. What to run comes
as JSON on stdin (`job`), never from a file: secrets are in it.

The folder holds `state.json` (when it began and how it ended), `work` (where the
command runs), `root` (what its mounts need) and `log`.
"""
