"""Goes on with a text: python generate.py exported "Once upon a time"."""

from __future__ import annotations

import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

folder, text = sys.argv[1:3]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
words = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
made = model.generate(**words, max_new_tokens=20, do_sample=False)
print(tokenizer.decode(made[0]))
