"""Tasks on the pretrained family, without finetuning."""
