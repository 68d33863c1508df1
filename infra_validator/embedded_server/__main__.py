"""``python -m infra_validator.embedded_server``"""

import sys

from infra_validator.embedded_server.main import main

sys.exit(main())
