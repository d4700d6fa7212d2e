"""What a report says of claims: verdicts, controls, tables and figures."""
