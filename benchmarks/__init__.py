"""What is measured at length and by hand: speed beside peers, and what the lessons say in short.

    python -m benchmarks                  the race: training, quality, sampling, memory, imports
    python -m benchmarks.profile_step     where a training step's time goes
    python -m benchmarks.attention        fused or plain attention?
    python -m benchmarks.imports          what an import costs
    python -m benchmarks.guided_step      what guidance costs
    python -m benchmarks.ddim_table       what a sampler makes of few steps (lesson 04)
    python -m benchmarks.glide_table      two ways of guidance, and what GLIDE fails at (lesson 09)
    python -m benchmarks.guidance_sweep   what the scale of guidance trades (lessons 05 and 06)
    python -m benchmarks.p_uncond         how often to leave the label out (lesson 06)
    python -m benchmarks.photos_by_class  are painted photographs recognised?
    python -m benchmarks.reader           what the attribute reader has right
    python -m benchmarks.scenes_race      what makes text to scenes learn fastest
    python -m benchmarks.text_to_scenes   what pictures of sentences show of them
    python -m benchmarks.upsampling       what an upsampler adds to a small picture (lesson 09)
    python -m benchmarks.inpainting       what is painted into a hole, and its seam (lesson 09)
    python -m benchmarks.valid_scenes     how many pictures of scenes are scenes (lesson 08)
    python -m benchmarks.sdg_sweep        sentences that steer (lesson 08)
    python -m benchmarks.synonyms         do words that mean the same meet in T5? (lesson 11)
    python -m benchmarks.priors           what DALL·E 2's priors draw beside real ones (lesson 10)
    python -m benchmarks.unclip           DALL·E 2: by which embedding, varied, changed (lesson 10)
    python -m benchmarks.unclip_table     the same, picture by picture, as lesson 10 prints it
    python -m benchmarks.mmca             what a matcher finds, and at what cost (lesson 13)
    python -m benchmarks.autoencoders     what an autoencoder keeps, and at what rate (lesson 12)
    python -m benchmarks.latent_diffusion scenes drawn in latents and in pixels (lesson 12)
    python -m benchmarks.branches         one branch of a matcher, the other, both (lesson 13)

The race's peers are diffusers (UNet2DModel and its schedulers) and denoising-diffusion-pytorch;
they come with ``pip install -e ".[bench]"``. That brings torchvision along; where its build is
another than torch's (the CPU build of torch, say), uninstall it: diffusers fails beside it, and
nothing here needs it.
"""
