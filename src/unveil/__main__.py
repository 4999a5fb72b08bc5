"""`python -m unveil` is the command `unveil`."""

import sys

from unveil.cli import main

sys.exit(main())
