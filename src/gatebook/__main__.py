"""`python -m gatebook` is `gatebook`."""

from gatebook.cli.app import main

if __name__ == "__main__":
    main()
