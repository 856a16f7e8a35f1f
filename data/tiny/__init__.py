"""The pieces of `data/make_tiny_model.py`: problems, tokenizer, training, sampling and the data sets."""
