"""The figures of a report and of the docs, as SVG."""
