"""Where the program begins. Run by path and isolated; its one argument is the attempt's folder."""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).absolute().parent
    # Last, or the driver's modules would hide those of the standard library. Under its full name
    # this package would bring the whole driver with it.
    sys.path.append(str(here.parent))
    import_module(f"{here.name}.watch").supervise(Path(sys.argv[1]))
