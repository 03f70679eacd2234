set terminal pngcairo size 959,538 font 'Sans,15' background '#ffffff'
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
set yrange [0:468]
set lmargin at screen 0.223149
set rmargin at screen 0.984359
set bmargin at screen 0.018587
set tmargin at screen 0.888476
set label "after task 1:\nT-shirt, Trouser" at 68, 468 center offset 0,1.6 font 'Sans,12'
set label "after task 2:\nPullover, Dress" at 214, 468 center offset 0,1.6 font 'Sans,12'
set label "after task 3:\nCoat, Sandal" at 360, 468 center offset 0,1.6 font 'Sans,12'
set label "after task 4:\nShirt, Sneaker" at 506, 468 center offset 0,1.6 font 'Sans,12'
set label "after task 5:\nBag, Ankle boot" at 652, 468 center offset 0,1.6 font 'Sans,12'
set label 'joint' noenhanced at 0, 434 right offset -1,0 font 'Sans,12'
set label 'generative_distillation' noenhanced at 0, 356 right offset -1,0 font 'Sans,12'
set label 'generative_replay' noenhanced at 0, 278 right offset -1,0 font 'Sans,12'
set label 'lwf' noenhanced at 0, 200 right offset -1,0 font 'Sans,12'
set label 'gaussian' noenhanced at 0, 122 right offset -1,0 font 'Sans,12'
set label 'finetune' noenhanced at 0, 44 right offset -1,0 font 'Sans,12'
plot 'grid-images.png' binary filetype=png origin=(0.5,0.5) with rgbimage
