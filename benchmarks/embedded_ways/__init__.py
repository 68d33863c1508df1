"""Ways in which the embedded server could answer a small Predict, beside what it does and what people use."""
