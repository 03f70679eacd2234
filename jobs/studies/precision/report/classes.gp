set terminal pngcairo size 1200,620 font 'Sans,15' background '#ffffff'
set output 'classes.png'
set encoding utf8
set tics nomirror
set grid ytics lc rgb '#dddddd'
set border 3
set datafile missing '?'
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 noborder
set ylabel 'share of the images after the last task, %'
set yrange [0:*]
set xtics scale 0 font 'Sans,13'
set key outside above horizontal width 1
plot 'classes.dat' using 2:xtic(1) lc rgb '#bbbbbb' title 'test images', \
  '' using 3 lc rgb '#000000' title 'generative_distillation training.precision=bfloat16' noenhanced, \
  '' using 4 lc rgb '#0072B2' title 'generative_distillation training.precision=float32' noenhanced
