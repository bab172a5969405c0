"""What the numbers and colours of label files mean: coding, label table, shapes drawn as pixels."""
