"""`python -m yusa` is the command line."""

from yusa.service.cli import main

if __name__ == "__main__":
    main()
