"""Generated from protos/heed/v1 by `make proto`: never edited."""
