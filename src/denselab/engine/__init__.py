"""A trained model that can run: its spec, folder and device, and the engine that turns pictures into logits."""
