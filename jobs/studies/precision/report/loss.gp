set terminal pngcairo size 1100,650 font 'Sans,15' background '#ffffff'
set output 'loss.png'
set encoding utf8
set tics nomirror
set grid ytics lc rgb '#dddddd'
set border 3
set datafile missing '?'
set logscale y
set xlabel 'training step'
set autoscale xfix
set autoscale yfixmax
set ylabel 'training loss, mean of 50 steps'
set key outside below maxrows 3
set format y '%g'
set mytics 10
set arrow from 300, graph 0 to 300, graph 1 nohead dt 3 lc rgb '#999999'
set label 'task 2' at 300, graph 1 offset 0.5,-0.6 tc rgb '#777777' font 'Sans,12'
set arrow from 600, graph 0 to 600, graph 1 nohead dt 3 lc rgb '#999999'
set label 'task 3' at 600, graph 1 offset 0.5,-0.6 tc rgb '#777777' font 'Sans,12'
set arrow from 900, graph 0 to 900, graph 1 nohead dt 3 lc rgb '#999999'
set label 'task 4' at 900, graph 1 offset 0.5,-0.6 tc rgb '#777777' font 'Sans,12'
set arrow from 1200, graph 0 to 1200, graph 1 nohead dt 3 lc rgb '#999999'
set label 'task 5' at 1200, graph 1 offset 0.5,-0.6 tc rgb '#777777' font 'Sans,12'
plot 'loss.dat' index 0 using 1:2 with lines lw 2 lc rgb '#000000' title 'generative_distillation training.precision=bfloat16' noenhanced, \
  'loss.dat' index 1 using 1:2 with lines lw 2 lc rgb '#0072B2' title 'generative_distillation training.precision=float32' noenhanced
