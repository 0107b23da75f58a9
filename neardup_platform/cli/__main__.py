"""`python -m neardup_platform.cli` runs `neardup`."""

import sys

from neardup_platform.cli import main

sys.exit(main())
