"""The report in other formats than the page: Markdown, LaTeX, JSON, the terminal."""
