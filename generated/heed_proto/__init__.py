"""The generated code of the heed contract."""
