# results.csv as one picture: a panel per objective, a line per sampler, mean and range of the two seeds.
set terminal pngcairo size 1300,520 font 'Sans,13' background '#ffffff'
set output 'samplers.png'
set encoding utf8
set datafile separator ','
set logscale xy
set xtics (2, 4, 6, 8, 10, 20, 50)
set format y '%g'
set grid ytics lc rgb '#dddddd'
set border 3
set tics nomirror
set xrange [0.9:60]
set yrange [20:2000]
set xlabel 'network evaluations per image'
set key top right
set multiplot layout 1,3
do for [objective in 'epsilon v flow'] {
  set title objective
  set ylabel objective eq 'epsilon' ? 'Fréchet distance (ResNet-18)' : ''
  samplers = objective eq 'flow' ? 'euler midpoint heun' : 'ddim dpmpp_2m unipc heun'
  plot for [i=1:words(samplers)] 'results.csv' skip 1 \
    using (stringcolumn(1) eq objective && stringcolumn(2) eq word(samplers, i) ? $4 : 1/0):(($5+$6)/2):($5<$6?$5:$6):($5<$6?$6:$5) \
    with yerrorlines lw 2 pt 7 ps 0.8 lc i title word(samplers, i) noenhanced
}
unset multiplot
