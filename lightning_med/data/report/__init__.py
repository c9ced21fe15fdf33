"""The data report: JSON, spreadsheet and HTML page."""
