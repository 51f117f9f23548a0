"""Views as files for an auditor: CSV, JSON, and PDF to print; the same rows as the page."""
