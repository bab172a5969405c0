"""A trained model that can run: what it is (spec), its folder, its device, and the engine that turns pictures into logits."""
