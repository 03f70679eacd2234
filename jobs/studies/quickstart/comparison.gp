# Draws comparison.png: the first four rows of each of the two pictures, side by side, pixel by pixel.
#   cd jobs/studies/quickstart && gnuplot comparison.gp
set terminal pngcairo size 1344,292 font 'Sans,14' background '#ffffff'
set output 'comparison.png'
unset border
unset tics
unset key
set bmargin at screen 0
set tmargin at screen 262.0 / 292
set xrange [0:658]
set yrange [658 - 262:658]
set multiplot
set label 1 'generative distillation, after five tasks' at screen 329.0 / 1344, 277.0 / 292 center
set label 2 'fine-tuning, after five tasks' at screen 1015.0 / 1344, 277.0 / 292 center
set lmargin at screen 0
set rmargin at screen 658.0 / 1344
plot 'generative_distillation.png' binary filetype=png origin=(0.5,0.5) with rgbimage
unset label
set lmargin at screen 686.0 / 1344
set rmargin at screen 1
plot 'finetune.png' binary filetype=png origin=(0.5,0.5) with rgbimage
unset multiplot
