"""Tasks asked of the pretrained family as it is."""
