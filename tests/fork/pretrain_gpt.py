"""The program of a made-up fork of Megatron-LM: as far as a command line goes, and no further."""

from megatron.training.arguments import add_own_arguments, parse_args, validate_args


def pretrain(extra_args_provider, args_defaults):
    args = parse_args(extra_args_provider)
    validate_args(args, args_defaults)
    raise SystemExit("training would start here, and must not")


if __name__ == "__main__":
    pretrain(add_own_arguments, args_defaults={"tokenizer_type": "GPT2BPETokenizer"})
