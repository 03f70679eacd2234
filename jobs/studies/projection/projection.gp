# Draws projection.csv: simulated efficiency by nodes, one panel per rate of the links. csv and picture: from run.sh.
set datafile separator ','
set terminal pngcairo size 1500,560 font ',10'
set output picture
set logscale x 2
set xrange [2:1100]
set yrange [0.3:1.02]
set format y '%.1f'
set grid
set key bottom left Left reverse samplen 2 spacing 0.95
set xlabel 'nodes'
array what[4] = ['tree', 'tree-long', 'tree-after', 'blocking']
array titles[4] = \
  ['tree, overlapped', 'tree, overlapped, long buckets', 'tree, no overlap', 'plain blocking all-reduce']
cell(speed, i, gbits) = strcol(5) eq what[i] && $2 == speed && $4 == gbits ? $10 : 1 / 0
set multiplot layout 1,3 title \
  'SIMULATED weak scaling of a step with replay, 64 images per node: efficiency. '. \
  'Filled: a node 32 times as fast as the measured core; open: the core itself'
do for [gbits in '25 100 200'] {
  set title gbits.' Gbit/s'
  plot 0.9 with lines linecolor 'gray' dashtype 2 notitle, \
    for [i = 1:4] csv skip 1 using 6:(cell(32, i, gbits + 0)) with linespoints linecolor i pointtype 7 \
      title titles[i], \
    for [i = 1:4] csv skip 1 using 6:(cell(1, i, gbits + 0)) with linespoints linecolor i dashtype 3 pointtype 6 notitle
}
unset multiplot
