"""The commands of `pentarch`, a file for what they are about; nothing heavy is imported before it is used."""
