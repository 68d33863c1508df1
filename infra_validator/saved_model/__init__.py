"""SavedModels, read without TensorFlow.

``find`` leads from what people call "the model" to the SavedModel directory, ``graph`` reads one graph of it, ``model_files`` holds
the files against what that graph needs, ``digest`` names the content.
"""
