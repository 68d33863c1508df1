"""``python -m infra_validator`` is the ``infra-validator`` command."""

import sys

from infra_validator.cli.main import main

sys.exit(main())
