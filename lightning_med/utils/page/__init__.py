"""What the HTML pages share: frame, style sheet, elements, charts, formats of numbers."""
