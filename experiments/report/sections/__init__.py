"""The sections of a report, one in each file: tables and sentences on a sweep's runs."""
