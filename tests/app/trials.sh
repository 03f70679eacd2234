# Read by tests that train with many settings: on several numbers of ranks and after a resume the parameters and images
# have the same bits.
# shellcheck shell=bash
# shellcheck disable=SC2154 # folder, program: of support.sh

settings=()

# train_on RANKS NAME ARGUMENT...: trains in $folder/NAME with $settings; sets $trained to the parameter digest.
train_on() {
  local ranks=$1 name=$2 setting sets=()
  shift 2
  for setting in "${settings[@]}"; do sets+=(--set "$setting"); done
  succeeds "$ranks" train "$folder/run.yaml" --set "output.directory=$folder/$name" "${sets[@]}" "$@"
  trained=$(digest)
}

by_timestep() { # NAME: the lines of the errors by timestep
  grep '"event": "loss_by_timestep"' "$folder/$1/metrics.jsonl"
}

# Every setting, in few runs: on one rank, on three, and from the middle of a task on with two.
references=()
trial() { # NAME KEY=VALUE...
  local name=$1 reference
  shift
  settings=("$@" output.checkpoint_steps=3 evaluation.samples=20)
  train_on 1 "$name-1"
  reference=$trained
  case " ${references[*]} " in *" $reference "*) fail "$name: the parameters are those of an earlier trial" ;; esac
  references+=("$reference")
  train_on "$(normally 3 2)" "$name-3"
  [ "$trained" = "$reference" ] || fail "$name: on three ranks the parameters are $trained, on one $reference"
  cmp <(by_timestep "$name-1") <(by_timestep "$name-3") || fail "$name: on three ranks the errors by timestep differ"
  same_images "$folder/$name-1/samples/samples-task03.h5" "$folder/$name-3/samples/samples-task03.h5"
  rm "$folder/$name-3/checkpoints/"checkpoint-task02-step000006.h5 "$folder/$name-3/checkpoints/"checkpoint-task03-*.h5
  train_on "$(normally 2 1)" "$name-3" --resume
  [ "$trained" = "$reference" ] || fail "$name: resumed on two ranks, the parameters are $trained, uninterrupted $reference"
  same_run "$folder/$name-1" "$folder/$name-3"
}

image() { # FILE INDEX: the bytes of an image of a set
  h5dump -d /images -s "$2,0,0,0" -c 1,8,8,1 -y -w 0 "$1" | sed -n '/^ *DATA {/,/}/p' | head -n 66
}
