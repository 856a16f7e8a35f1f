"""Methods that train diffusion models on images."""

from .method import Method


ERROR_METRICS = {
    "errors/policy_chosen": "mean squared prediction error of the policy on the preferred image; a small change in it is "
    "the whole signal",
    "errors/policy_other": "the same on the other image of the pair",
    "errors/ref_chosen": "error of the reference on the preferred image; moves only with the times and noise drawn",
    "errors/ref_other": "error of the reference on the other image",
}

METHODS = [
    Method(
        key="diffusion_dpo",
        title="Diffusion Direct Preference Optimization",
        family="diffusion",
        paper_title="Diffusion Model Alignment Using Direct Preference Optimization",
        arxiv="2311.12908",
        citation="""@inproceedings{wallace2024diffusiondpo,
    title        = {{Diffusion Model Alignment Using Direct Preference Optimization}},
    author       = {Wallace, Bram and Dang, Meihua and Rafailov, Rafael and Zhou, Linqi and Lou, Aaron and Purushwalkam, Senthil and Ermon, Stefano and Xiong, Caiming and Joty, Shafiq and Naik, Nikhil},
    year         = 2024,
    booktitle    = {CVPR},
    eprint       = {arXiv:2311.12908},
}""",
        trainer="alignkit.trainers.diffusion.diffusion_dpo:DiffusionDPOTrainer",
        config="alignkit.trainers.diffusion.diffusion_dpo:DiffusionDPOConfig",
        summary="DPO for diffusion models: the policy's prediction error on the preferred image should fall against the "
        "reference's by more than on the rejected one, at the same time and noise.",
        columns=("prompt", "image_chosen", "image_rejected"),
        metric="implicit_accuracy rises above 0.5",
        status="golden cases, closed limits, exact resume",
        metrics={
            "implicit_accuracy": "share of pairs whose preferred image the policy has come to predict better, against the "
            "reference, than the rejected one; 0 at the very first step, where both changes are 0; should rise above 0.5",
            **ERROR_METRICS,
        },
    ),
    Method(
        key="seppo",
        title="Semi-Policy Preference Optimization",
        family="diffusion",
        paper_title="SePPO: Semi-Policy Preference Optimization for Diffusion Alignment",
        arxiv="2410.05255",
        citation="""@misc{zhang2024seppo,
    title        = {{SePPO: Semi-Policy Preference Optimization for Diffusion Alignment}},
    author       = {Zhang, Daoan and Lan, Guangchen and Han, Dong-Jun and Yao, Wenlin and Pan, Xiaoman and Zhang, Hongming and Li, Mingxiao and Chen, Pengcheng and Dong, Yu and Brinton, Christopher and Luo, Jiebo},
    year         = 2024,
    eprint       = {arXiv:2410.05255},
}""",
        trainer="alignkit.trainers.diffusion.seppo:SePPOTrainer",
        config="alignkit.trainers.diffusion.seppo:SePPOConfig",
        summary="Needs winners only. A random earlier checkpoint samples what stands in for the loser; it counts as a loser "
        "where the policy predicts the winner better than that checkpoint, and as a winner elsewhere.",
        columns=("prompt", "image"),
        metric="flip_rate stays between 0 and 1 while the sample images improve; errors/policy_chosen falls below errors/ref_chosen",
        status="golden cases, closed limits, exact resume",
        metrics={
            "flip_rate": "share of examples whose reference sample counts as a loser (s > 0); 0 at the very first step, "
            "where policy and reference are one; near 1 the method is Diffusion-DPO against samples",
            "reference_index": "which checkpoint is the reference of this iteration; 0 is the initial model",
            "implicit_accuracy": "share of examples whose winner the policy has come to predict better, against the "
            "reference, than the sample",
            **ERROR_METRICS,
        },
    ),
]
