"""What a trained model is: its network, label table and preprocessing, in memory and as a folder."""
