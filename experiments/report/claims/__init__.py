"""The claims of a report: verdicts, controls, tables and figures."""
