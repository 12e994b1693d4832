"""Training: masks, packing, the loss, verified checkpoints, LoRA; used by every stage that learns."""
