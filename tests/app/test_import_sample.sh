#!/usr/bin/env bash
# import and sample: from the weights of a diffusers network they make the reference's DDIM images, with the same bits
# on any number of ranks; bad input, values that are not finite and other networks are refused with one message.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

missing=down_blocks.0.resnets.0.conv1.weight
write_network_a
"$fixture" weights "$folder/missing.safetensors" "$missing"
"$fixture" noise "$folder/x_T.h5"
"$fixture" noise "$folder/larger.h5" 32

succeeds 2 import --safetensors "$folder/a.safetensors" --config "$folder/network_a.yaml" --output "$folder/a.h5"
"$fixture" compare "$folder/a.h5" /model "$tests/golden/unet.h5" /a/weights 0 || fail "imported weights differ"

for ranks in 1 $(normally "2 3" 2); do
  succeeds "$ranks" sample --checkpoint "$folder/a.h5" --initial-noise "$folder/x_T.h5" --steps 10 \
    --output "$folder/samples-$ranks.h5" --grid "$folder/samples-$ranks.png"
  "$fixture" compare "$folder/samples-$ranks.h5" /x_0 "$tests/golden/diffusion.h5" /ddim_10 1e-3 ||
    fail "on $ranks ranks, /x_0 differs from the reference"
  same_images "$folder/samples-1.h5" "$folder/samples-$ranks.h5"
  "$fixture" compare "$folder/samples-$ranks.h5" /x_0 "$folder/samples-1.h5" /x_0 0 || fail "/x_0 depends on the ranks"
  [ "$(head -c 4 "$folder/samples-$ranks.png" | tail -c 3)" = PNG ] || fail "no picture on $ranks ranks"
done

refused 2 "$missing" 2 import --safetensors "$folder/missing.safetensors" --config "$folder/network_a.yaml" \
  --output "$folder/bad.h5"
refused 2 "time_embedding.linear_1.weight' has shape [64,16], must be [32,8]" 1 import --safetensors "$folder/a.safetensors" --config "$folder/network_a.yaml" \
  --set 'model.block_out_channels=[8, 16, 32]' --output "$folder/bad.h5"
refused 2 "/x_T must have the shape (N, 1, 16, 16)" 2 sample --checkpoint "$folder/a.h5" \
  --initial-noise "$folder/larger.h5" --output "$folder/bad.h5"
refused 2 "--count asks for 3" 1 sample --checkpoint "$folder/a.h5" --initial-noise "$folder/x_T.h5" --count 3 \
  --output "$folder/bad.h5"
refused 2 nosuch.h5 2 sample --checkpoint "$folder/nosuch.h5" --count 3 --output "$folder/bad.h5"
refused 2 a.safetensors 1 sample --checkpoint "$folder/a.safetensors" --count 3 --output "$folder/bad.h5"
refused 2 needs 1 sample --checkpoint "$folder/a.h5" --output "$folder/bad.h5"
for bad in --steps=-3 --steps=1001 --eta=-0.5 --seed=-4 --count=-2; do
  refused 2 "$(echo "${bad#--}" | cut -d= -f1 | sed 's/count/--count/')" 1 sample --checkpoint "$folder/a.h5" \
    --count 1 "$bad" --output "$folder/bad.h5"
done

# ---- Outputs are checked before the work, which would take minutes, and never replace an input.
many=(sample --checkpoint "$folder/a.h5" --count 100000 --steps 1000)
mkdir "$folder/inner"
ln -s a.h5 "$folder/link.h5"
ln -s . "$folder/here"
cp "$folder/a.h5" "$folder/copy.h5"
refused 2 "none: No such file or directory" 2 "${many[@]}" --output "$folder/none/bad.h5"
refused 2 "inner: is a folder, must be a file" 1 "${many[@]}" --output "$folder/inner"
refused 2 "none: No such file or directory" 1 "${many[@]}" --output "$folder/bad.h5" --grid "$folder/none/bad.png"
refused 2 "is the file that --output names" 1 "${many[@]}" --output "$folder/bad.h5" --grid "$folder/here/bad.h5"
for name in a.h5 link.h5 here/a.h5; do
  refused 2 "is the file that --checkpoint names; the output would replace it" 2 "${many[@]}" --output "$folder/$name"
  refused 2 "is the file that --checkpoint names" 1 "${many[@]}" --output "$folder/bad.h5" --grid "$folder/$name"
done
refused 2 "is the file that --initial-noise names" 1 "${many[@]}" --initial-noise "$folder/x_T.h5" --output "$folder/x_T.h5"
refused 2 "is the file that --safetensors names" 1 import --safetensors "$folder/a.safetensors" \
  --config "$folder/network_a.yaml" --output "$folder/a.safetensors"
cmp "$folder/a.h5" "$folder/copy.h5" || fail "a refused command has changed the checkpoint"

# ---- Values that are not finite: in weights, in starting noise, in images. No black picture is written.
importing=(import --safetensors "$folder/a.safetensors" --config "$folder/network_a.yaml" --output "$folder/bad.h5")
mkdir "$folder/bad"
cp "$folder/a.safetensors" "$folder/bad/nan.safetensors"
printf '\0\0\300\177' | dd of="$folder/bad/nan.safetensors" bs=1 seek=$(($(stat -c %s "$folder/a.safetensors") - 4)) \
  conv=notrunc status=none
refused 2 "(from 0) is nan as float32, must be finite" 1 import --safetensors "$folder/bad/nan.safetensors" \
  --config "$folder/network_a.yaml" --output "$folder/bad.h5"
"$fixture" noise "$folder/nan.h5" nan
refused 2 "dataset '/x_T': element 511 (from 0) is nan" 2 sample --checkpoint "$folder/a.h5" \
  --initial-noise "$folder/nan.h5" --output "$folder/bad.h5"
cp "$folder/a.h5" "$folder/huge.h5"
"$fixture" poison "$folder/huge.h5"
refused 1 "generated image 0 is not finite after sampling step " 2 sample --checkpoint "$folder/huge.h5" --count 70 \
  --output "$folder/bad.h5" --grid "$folder/bad.png"
[ ! -e "$folder/bad.png" ] || fail "images that are not finite were drawn"
refused 2 "evaluation.eta': must be a number, is 'nan'" 1 sample --checkpoint "$folder/a.h5" --count 1 --eta nan \
  --output "$folder/bad.h5"

# ---- config.json beside the weights: it may describe another network than the configuration.
succeeds 1 "${importing[@]}"
has "$folder/err" "$folder/config.json: no such file, so what does not follow from the weights is assumed" "import"
has "$folder/err" "flip_sin_to_cos true, freq_shift 0" "import"
rm "$folder/bad.h5"
good='"_class_name": "UNet2DModel", "_diffusers_version": "0.30.0", "sample_size": 16, "in_channels": 1,
  "out_channels": 1, "block_out_channels": [16, 16, 32], "layers_per_block": 1, "norm_num_groups": 8,
  "down_block_types": ["DownBlock2D", "DownBlock2D", "AttnDownBlock2D"], "act_fn": "swish", "dropout": 0.1,
  "up_block_types": ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"]'
echo "{$good, \"norm_eps\": 1e-05, \"freq_shift\": 0.0, \"downsample_padding\": 1}" >"$folder/config.json"
succeeds 1 "${importing[@]}"
if grep -q warn "$folder/err"; then fail "a warning although config.json matches"; fi
rm "$folder/bad.h5"
echo "{$good, \"flip_sin_to_cos\": false}" >"$folder/config.json"
refused 2 "$folder/config.json: key 'flip_sin_to_cos' is false, must be true" 2 "${importing[@]}"
rm "$folder/config.json"

# ---- Seeds of 2^63 and more, and options that DDPM does not have.
seed=18446744073709551614
succeeds 1 sample --checkpoint "$folder/a.h5" --count 2 --steps 1 --seed $seed --output "$folder/seed.h5"
succeeds 1 info "$folder/seed.h5"
grep -q "^seed  *$seed$" "$folder/out" || fail "another seed than $seed in the sample set"
succeeds 1 import --safetensors "$folder/a.safetensors" --config "$folder/network_a.yaml" --output "$folder/ddpm.h5" \
  --set evaluation.sampler=ddpm --set diffusion.timesteps=20
refused 2 "the sampler ddpm takes all 20 timesteps" 1 sample --checkpoint "$folder/ddpm.h5" --count 1 --steps 5 \
  --output "$folder/bad.h5"
refused 2 "the sampler ddpm has eta 1" 1 sample --checkpoint "$folder/ddpm.h5" --count 1 --eta 0 --output "$folder/bad.h5"
succeeds 1 sample --checkpoint "$folder/ddpm.h5" --count 1 --steps 20 --eta 1 --output "$folder/good.h5"
[ ! -e "$folder/bad.h5" ] || fail "a refused command left a file behind"
