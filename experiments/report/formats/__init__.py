"""A report in other forms than the page: Markdown, LaTeX, JSON, the terminal."""
