"""The sections of a report, a file each: what a sweep's runs say, as tables and words."""
