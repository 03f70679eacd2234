# Draws training.png from results.csv: each seed of each setting, images of 10 and of 50 evaluations.
#   cd jobs/studies/training && gnuplot training.gp
set terminal pngcairo size 1300,560 font 'Sans,12' background '#ffffff'
set output 'training.png'
set datafile separator ','
set ylabel 'Fréchet distance (ResNet-18 features), 2000 images'
set logscale y
set yrange [20:300]
set ytics nomirror (20, 30, 40, 60, 80, 100, 150, 200, 300)
set grid ytics lc '#dddddd'
set border 3
set bmargin 4.5
set key top right
settings = "epsilon,constant,raw epsilon,constant,ema epsilon,cosine,raw epsilon,cosine,ema epsilon_min_snr,cosine,ema v,constant,raw v,constant,ema v,cosine,raw v,cosine,ema flow,constant,raw flow,constant,ema flow,cosine,raw flow,cosine,ema"
names = "noise noise noise noise min-SNR v v v v flow flow flow flow"
place(setting) = sum [i=1:words(settings)] (word(settings, i) eq setting ? i : 0)
schedule(i) = word(settings, i)[strstrt(word(settings, i), ',') + 1 : strlen(word(settings, i)) - 4]
parameters(i) = word(settings, i)[strlen(word(settings, i)) - 2 : *]
set xrange [0.4:words(settings) + 0.6]
set xtics () nomirror
do for [i=1:words(settings)] { set xtics add (sprintf("%s\n%s\n%s", word(names, i), schedule(i), parameters(i) eq 'raw' ? 'as trained' : 'average') i) }
key(i) = strcol(1).','.strcol(2).','.strcol(3)
plot 'results.csv' using (strcol(5) eq '10' ? place(key(0)) - 0.12 : NaN):6 with points pt 7 ps 1.3 lc '#1f5fa8' title '10 evaluations', \
     '' using (strcol(5) eq '50' ? place(key(0)) + 0.12 : NaN):6 with points pt 5 ps 1.2 lc '#c8501e' title '50 evaluations'
