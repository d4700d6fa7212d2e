"""What a user types; a module of commands for each thing they are about."""
