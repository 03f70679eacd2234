# results.csv as one picture: a panel per strategy, a line per objective and number of evaluations, mean and range of the
# two seeds.
set terminal pngcairo size 1280,420 font 'Sans,13' background '#ffffff'
set output 'replay_objectives.png'
set encoding utf8
set datafile separator ','
set logscale y
set yrange [100:1500]
set ytics (100, 150, 200, 300, 500, 700, 1000, 1500)
set grid ytics lc rgb '#dddddd'
set border 3
set tics nomirror
set xrange [0.8:5.2]
set xlabel 'tasks learned'
set xtics 1
set bmargin at screen 0.16
set tmargin at screen 0.9
set multiplot
dash(n) = n eq '2' ? 2 : 1
colours = "#c8501e #3a9147 #1f5fa8"
name(o) = o eq 'epsilon' ? 'noise' : o eq 'v' ? 'v' : 'flow matching'
do for [strategy in 'generative_replay generative_distillation'] {
  set title (strategy eq 'generative_replay' ? 'generative replay' : 'generative distillation')
  left = strategy eq 'generative_replay' ? 0.08 : 0.455
  set lmargin at screen left
  set rmargin at screen left + 0.32
  if (left < 0.2) { unset key } else { set key at screen 0.99, 0.75 right }
  set ylabel strategy eq 'generative_replay' ? 'Fréchet distance (ResNet-18)' : ''
  plot for [n in '2 10'] for [i=1:3] 'results.csv' skip 1 \
    using (stringcolumn(1) eq strategy && stringcolumn(2) eq word('epsilon v flow', i) && stringcolumn(3) eq n ? $4 : 1/0):(($5+$6)/2):($5<$6?$5:$6):($5<$6?$6:$5) \
    with yerrorlines lw 2 pt (n eq '2' ? 6 : 7) ps 0.9 dt dash(n) lc rgb word(colours, i) title name(word('epsilon v flow', i)).', '.n noenhanced
}
unset multiplot
