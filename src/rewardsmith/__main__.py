"""`python -m rewardsmith` is the command line."""

from rewardsmith.cli import main

if __name__ == "__main__":
    main()
