"""`python -m heed_server` is the command `heed-server`."""

from heed_server.cli.main import main

if __name__ == "__main__":
    main()
