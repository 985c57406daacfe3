"""`python -m rewardsmith` is the command line."""

import sys

try:
    from rewardsmith.cli import main
except KeyboardInterrupt:  # while its modules load
    sys.exit(130)

if __name__ == "__main__":
    main()
