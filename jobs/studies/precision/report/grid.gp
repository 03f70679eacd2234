set terminal pngcairo size 1183,226 font 'Sans,15' background '#ffffff'
set output 'grid.png'
set encoding utf8
set tics nomirror
set grid ytics lc rgb '#dddddd'
set border 3
unset grid
unset border
unset tics
unset key
set xrange [0:730]
set yrange [0:156]
set lmargin at screen 0.370245
set rmargin at screen 0.987320
set bmargin at screen 0.044248
set tmargin at screen 0.734513
set label "after task 1:\nT-shirt, Trouser" at 68, 156 center offset 0,1.6 font 'Sans,12'
set label "after task 2:\nPullover, Dress" at 214, 156 center offset 0,1.6 font 'Sans,12'
set label "after task 3:\nCoat, Sandal" at 360, 156 center offset 0,1.6 font 'Sans,12'
set label "after task 4:\nShirt, Sneaker" at 506, 156 center offset 0,1.6 font 'Sans,12'
set label "after task 5:\nBag, Ankle boot" at 652, 156 center offset 0,1.6 font 'Sans,12'
set label 'generative_distillation training.precision=bfloat16' noenhanced at 0, 122 right offset -1,0 font 'Sans,12'
set label 'generative_distillation training.precision=float32' noenhanced at 0, 44 right offset -1,0 font 'Sans,12'
plot 'grid-images.png' binary filetype=png origin=(0.5,0.5) with rgbimage
