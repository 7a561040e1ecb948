"""A byte-pair vocabulary in Gemma's form, from the captions: spaces are word beginnings, unknown letters are bytes."""

import json
import os

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from models.text_encoder import CONFIG

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def train(options):
    folder = os.path.join(options.run, "tokenizer", "files")
    os.makedirs(folder, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    # Learnt within words. In use, nothing is split, as with Gemma; even so, no merge crosses the beginning of a word.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"], special_tokens=SPECIAL + BYTES, min_frequency=2, show_progress=False
    )
    tokenizer.train([os.path.join(options.data, "corpus.txt")], trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])

    definition = json.loads(tokenizer.to_str())
    # The trainer supports bytes only as special tokens. They must be ordinary ones, or text that spells one would match.
    definition["added_tokens"] = [token for token in definition["added_tokens"] if token["content"] in SPECIAL]
    write(folder, "tokenizer.json", definition)
    content = lambda token: {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write(folder, "special_tokens_map.json", {name: content(token) for name, token in special.items()})
    write(
        folder,
        "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "added_tokens_decoder": {str(i): {**content(token), "special": True} for i, token in enumerate(SPECIAL)},
            "clean_up_tokenization_spaces": False,
            "model_max_length": CONFIG["max_position_embeddings"],
            "padding_side": "right",
            "tokenizer_class": "GemmaTokenizer",
            **special,
        },
    )
    print(json.dumps({"vocabulary": tokenizer.get_vocab_size(), "example": tokenizer.encode("a teal owl").tokens}))


def write(folder, name, content):
    with open(os.path.join(folder, name), "w") as file:
        file.write(json.dumps(content, ensure_ascii=False) + "\n")
